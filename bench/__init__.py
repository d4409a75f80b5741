"""What Fortress costs, and against whom."""
