"""The page in the browser: `srn ui`."""
