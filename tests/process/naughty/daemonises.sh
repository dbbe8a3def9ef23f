# Double-forks into sessions of their own, and stays.
setsid sh -c 'setsid sh -c "sleep 1000 & echo ready; exec sleep 1000" & exit 0'
exec sleep 1000
