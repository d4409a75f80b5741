"""The catalogue: each file is one scenario; files with an underscore hold steps that several share."""
