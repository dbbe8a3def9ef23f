# Ignores every polite request, children included.
trap '' TERM HUP INT QUIT
sleep 1000 &
echo ready
while :; do wait; done
