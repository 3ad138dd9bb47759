# Driver 550.163.01 is healthy, and other-work.service, which nobody asked us to stop, holds /dev/nvidia0 open.
# from: driver-old

enter() {
    cat > /etc/systemd/system/other-work.service <<'END'
[Unit]
Description=Somebody's work on the GPU

[Service]
ExecStart=/bin/sh -c 'exec 3<>/dev/nvidia0; while :; do sleep 3600; done'
Restart=on-failure
RestartSec=2

[Install]
WantedBy=multi-user.target
END
    systemctl daemon-reload
    systemctl enable --now --quiet other-work.service
}

leave() {
    systemctl disable --now --quiet other-work.service
    rm -f /etc/systemd/system/other-work.service
    systemctl daemon-reload
}
