"""What the workbench starts: trainers and checks, each a process of its own."""
