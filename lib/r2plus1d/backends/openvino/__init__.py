"""OpenVINO: CPUs at their best."""
