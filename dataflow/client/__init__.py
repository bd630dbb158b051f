"""Where Prefect's users find the types of runs and states; there is no server to be a client of."""
