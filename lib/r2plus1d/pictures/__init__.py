"""What people look at: plots, contact sheets, annotated videos."""
