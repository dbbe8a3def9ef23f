# Writes as fast as it can.
echo ready
exec yes "a line of the flood, which goes on and on and on and on and on and on and on and on"
