"""Networks in the layouts of published files, each under the names that its authors' code gives to the weights."""
