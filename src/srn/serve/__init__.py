"""The HTTP service: pictures in, landmarks out, over `inference` alone."""
