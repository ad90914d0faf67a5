"""Several nodes behind one load balancer: names in ids, the other nodes, the state that all share (docs/nodes.md)."""
