# A redis server without a disk or a port, and a client that is not recorded. The folder of the socket is $1.
env -u LD_PRELOAD python3 "$(dirname "$0")/redis.py" "$1/socket" &
exec redis-server --save '' --appendonly no --port 0 --unixsocket "$1/socket" --loglevel warning --daemonize no
