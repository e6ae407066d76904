"""Who reaches the app, and what of it: addresses, passwords, and the gate every request passes."""
