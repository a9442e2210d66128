"""What learns. Runs only inside a box: net, train (the patchable file), predict."""
