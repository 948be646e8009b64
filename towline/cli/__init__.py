"""The command line `towline`: thin over the hub's API and the composition roots. Each command is imported when run."""
