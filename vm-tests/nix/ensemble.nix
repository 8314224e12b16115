# Hosts that each have a control plane, an agent and a member of the store that all control planes
# share: etcd or ZooKeeper. Beyond the hosts, what scripts have to know is in /etc/ensemble.json.
{
  # etcd or zookeeper
  store,
  names,
  timeFactor,
  # How long a leader is believed without a sign of life.
  leaseSeconds ? 5,
  # What else scripts are told.
  facts ? { },
}:
let
  inherit (builtins)
    concatStringsSep
    floor
    genList
    length
    listToAttrs
    elemAt
    toJSON
    ;

  lease = floor (leaseSeconds * timeFactor);
  ports = {
    etcd = 2379;
    zookeeper = 2181;
  };
  servers = concatStringsSep "," (map (name: "${name}:${toString ports.${store}}") names);
  address = if store == "etcd" then "etcd://${servers}/tepui" else "zk://${servers}/mesos";

  member = {
    etcd = name: _: {
      networking.firewall.allowedTCPPorts = [
        2379
        2380
      ];
      services.etcd = {
        enable = true;
        inherit name;
        listenClientUrls = [ "http://0.0.0.0:2379" ];
        advertiseClientUrls = [ "http://${name}:2379" ];
        listenPeerUrls = [ "http://0.0.0.0:2380" ];
        initialAdvertisePeerUrls = [ "http://${name}:2380" ];
        initialCluster = map (other: "${other}=http://${other}:2380") names;
        extraConf.AUTO_COMPACTION_RETENTION = "1";
      };
    };

    zookeeper = _: number: {
      networking.firewall.allowedTCPPorts = [
        2181
        2888
        3888
      ];
      services.zookeeper = {
        enable = true;
        id = number;
        # The server of its own for administrators would take Marathon's port.
        extraConf = ''
          admin.enableServer=false
          tickTime=500
          initLimit=20
          syncLimit=4
        '';
        servers = concatStringsSep "\n" (
          genList (at: "server.${toString (at + 1)}=${elemAt names at}:2888:3888") (length names)
        );
        extraCmdLineOptions = [
          "-Xmx128m"
          "-XX:+UseSerialGC"
          "-XX:TieredStopAtLevel=1"
        ];
      };
    };
  };

  host = at: {
    name = elemAt names at;
    value = {
      imports = [
        ./reachable.nix
        (member.${store} (elemAt names at) (at + 1))
      ];
      services.tepui.control-plane = {
        enable = true;
        settings = {
          store = address;
          lease_seconds = lease;
        };
      };
      services.tepui.agent = {
        enable = true;
        settings.control_plane = map (name: "http://${name}:5052") names;
      };
      environment.etc."ensemble.json".text = toJSON (
        {
          inherit store;
          lease_seconds = lease;
        }
        // facts
      );
    };
  };
in
listToAttrs (genList host (length names))
