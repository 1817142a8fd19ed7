"""Real servers started on this machine: for the demo, and for tests where no container engine answers."""
