"""A simulated member cluster: workload rules (pure), the shell that runs them, and the process around both."""
