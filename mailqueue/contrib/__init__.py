"""What joins mailqueue to other software."""
