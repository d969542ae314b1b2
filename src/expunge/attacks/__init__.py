"""One file, one attack. The file name is the attack's name."""
