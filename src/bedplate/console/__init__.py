"""The pages people use: server-rendered, and working without scripts."""
