"""What sending less is worth: the time and the answers of whole files and smaller ones, over links of known rates."""
