"""The MCP proxy's own part: what a message asks, who may, and what its answer may show. HTTP is the shell's."""
