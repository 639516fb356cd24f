"""What the project measures of itself, on demand."""
