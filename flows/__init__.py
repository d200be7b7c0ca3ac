"""What happens, in which order, and what when it fails. Each flow is a module and a deployment."""
