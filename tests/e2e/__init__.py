"""The whole house with real servers around it. The one folder of tests that mirrors no room."""
