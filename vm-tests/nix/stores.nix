# NixOS's services etcd and ZooKeeper as far as cases configure them: the same options, and units
# whose programs the driver puts where `ON_HOSTS` says.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;

  option = type: default: mkOption { inherit type default; };
  strings = option (types.listOf types.str);
  text = option types.lines "";

  inherit (config.services) etcd zookeeper;
  join = lib.concatStringsSep ",";
  service = {
    wantedBy = [ "multi-user.target" ];
    after = [ "network.target" ];
    unitConfig.StartLimitIntervalSec = 0;
  };
  # Cases kill them.
  always = {
    Restart = "always";
    RestartSec = "500ms";
    DynamicUser = true;
  };
in
{
  options.services.etcd = {
    enable = option types.bool false;
    name = option types.str config.networking.hostName;
    dataDir = option types.str "/var/lib/etcd";
    listenClientUrls = strings [ "http://127.0.0.1:2379" ];
    advertiseClientUrls = strings etcd.listenClientUrls;
    listenPeerUrls = strings [ "http://127.0.0.1:2380" ];
    initialAdvertisePeerUrls = strings etcd.listenPeerUrls;
    initialCluster = strings [ "${etcd.name}=http://127.0.0.1:2380" ];
    initialClusterState = option types.str "new";
    extraConf = option (types.attrsOf types.str) { };
  };

  options.services.zookeeper = {
    enable = option types.bool false;
    id = option types.int 0;
    port = option types.port 2181;
    dataDir = option types.str "/var/lib/zookeeper";
    extraConf = text;
    servers = text;
    extraCmdLineOptions = strings [ ];
  };

  config.systemd.services = {
    etcd = lib.mkIf etcd.enable (
      service
      // {
        description = "etcd";
        environment = {
          ETCD_NAME = etcd.name;
          ETCD_DATA_DIR = etcd.dataDir;
          ETCD_LISTEN_CLIENT_URLS = join etcd.listenClientUrls;
          ETCD_ADVERTISE_CLIENT_URLS = join etcd.advertiseClientUrls;
          ETCD_LISTEN_PEER_URLS = join etcd.listenPeerUrls;
          ETCD_INITIAL_ADVERTISE_PEER_URLS = join etcd.initialAdvertisePeerUrls;
          ETCD_INITIAL_CLUSTER = join etcd.initialCluster;
          ETCD_INITIAL_CLUSTER_STATE = etcd.initialClusterState;
        }
        // lib.mapAttrs' (name: lib.nameValuePair "ETCD_${name}") etcd.extraConf;
        serviceConfig = always // {
          Type = "notify";
          ExecStart = "${pkgs.etcd}/bin/etcd";
          StateDirectory = "etcd";
          StateDirectoryMode = "0700";
        };
      }
    );

    zookeeper = lib.mkIf zookeeper.enable (
      service
      // {
        description = "ZooKeeper";
        serviceConfig = always // {
          # Who a server is stands in a file of its own, beside its data.
          ExecStartPre = "/bin/sh -c 'echo ${toString zookeeper.id} >${zookeeper.dataDir}/myid'";
          ExecStart = lib.concatStringsSep " " (
            [
              "${pkgs.jre}/bin/java"
              "-cp ${pkgs.zookeeper}/lib/*"
            ]
            ++ zookeeper.extraCmdLineOptions
            ++ [ "org.apache.zookeeper.server.quorum.QuorumPeerMain /etc/zookeeper/zoo.cfg" ]
          );
          StateDirectory = "zookeeper";
        };
      }
    );
  };

  config.environment.etc."zookeeper/zoo.cfg" = lib.mkIf zookeeper.enable {
    text = ''
      dataDir=${zookeeper.dataDir}
      clientPort=${toString zookeeper.port}
      ${zookeeper.extraConf}
      ${zookeeper.servers}
    '';
  };
}
