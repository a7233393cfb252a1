set -e
mount --make-rshared /
mount -t tmpfs -o mode=0755 tmpfs /mnt
mkdir /mnt/0 && mount --rbind '/run/isthmus/dev' /mnt/0
mount -t tmpfs -o mode=0755 tmpfs /run
mount -t tmpfs -o mode=0755 tmpfs /var/lib
mount -t tmpfs -o mode=0755 tmpfs /var/log
mkdir -p /run/lock /run/netns /var/lib/kubelet /var/log/containers
mkdir -p '/run/isthmus/dev' && mount --rbind /mnt/0 '/run/isthmus/dev'
umount -l /mnt
echo ready
exec sleep infinity