# Runs a browser (the arguments after the first) whose files are in a folder of its own (the first), and removes the folder
# when the browser has ended, also when whoever started it is gone by then. The browser ends when its pipe is closed.
folder=$1
shift
# Some of its processes may end, and write, a little later.
trap 'rm -rf "$folder" 2>/dev/null || { sleep 1; rm -rf "$folder"; }' EXIT
# What ends the browser must not keep the folder.
trap : HUP INT TERM
# The protocol's pipe is descriptors 3 and 4.
HOME=$folder XDG_CONFIG_HOME=$folder XDG_CACHE_HOME=$folder TZ=UTC "$@" 3<&0 4>&1 </dev/null >/dev/null
