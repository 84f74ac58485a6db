"""Times: when members converge or pass a threshold, censored ones counted as such, and by which law they go on."""
