# Gives weights to other hosts for as long as somebody asks: $1 = address, $2 = port, $3 = seconds without a question
# after which it ends, $4 = folder with the modules. systemd runs it, as a user who may only read.
set -eu
cd "$RUNTIME_DIRECTORY"
cat > rsyncd.conf <<END
address = $1
port = $2
use chroot = no
reverse lookup = no
timeout = 600
log file = $RUNTIME_DIRECTORY/log
&include $4
END
: > log
rsync --daemon --no-detach --config="$RUNTIME_DIRECTORY/rsyncd.conf" & server=$!
is_asked() { [ $(($(date +%s) - $(stat -c %Y log))) -lt "$1" ] || grep -lsq "^PPid:[[:space:]]*$server\$" /proc/[0-9]*/status; }
sleep 0.3
while kill -0 $server 2>/dev/null; do
  is_asked "$3" || { echo "nobody has asked for $3 s"; kill $server; exit 0; }
  [ "$(stat -c %s log)" -lt 4194304 ] || : > log
  sleep 2
done
wait $server
