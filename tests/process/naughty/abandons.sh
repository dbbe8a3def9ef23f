# Leaves a daemon and dead orphans, and exits at once.
setsid sh -c 'sleep 1000 & (exit 7) & echo ready; exec sleep 1000' &
exit 3
