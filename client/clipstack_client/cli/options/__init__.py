"""Options of the commands: the connection to the service, and the groups that several commands share."""
