"""`inference predict`: predict images that no CSV file describes."""
