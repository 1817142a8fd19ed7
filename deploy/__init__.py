"""What deployment needs as files: local servers, images, dashboards. Part of the wheel, read through importlib.resources."""
