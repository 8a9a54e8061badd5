"""Fit a prior: autoencoder, then denoiser, then coarse head, into one bundle."""
