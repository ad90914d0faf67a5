"""What happens when in a video: windows of the model over all of it, cuts between scenes, segments of one label."""
