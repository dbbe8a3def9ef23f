# Forks while it is being killed, each child in a session of its own.
echo ready
while :; do
    setsid sleep 0.05 &
    (sleep 0.02 &)
done
