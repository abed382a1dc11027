"""The few pieces that every page is made of; all styling is in `assets/omni.css`."""
