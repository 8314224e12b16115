# The options that nixpkgs had for Mesos and Marathon until 20.09. nixpkgs itself refuses them now,
# so they cannot simply go on under new names: a configuration that has them is refused with the text
# that takes its place.
{ lib, options, ... }:
let
  inherit (lib)
    concatMap
    concatStringsSep
    hasPrefix
    mkOption
    optional
    optionals
    removePrefix
    types
    ;

  given =
    type:
    mkOption {
      type = types.nullOr type;
      default = null;
    };
  string = given types.str;
  number = given types.int;
  strings = given (types.listOf types.str);
  flag = given types.bool;
  set = given (types.attrsOf types.anything);

  # Their names and types, as they were.
  former = {
    mesos = {
      master = {
        enable = flag;
        ip = string;
        port = number;
        advertiseIp = string;
        advertisePort = number;
        zk = string;
        workDir = string;
        extraCmdLineOptions = strings;
        quorum = number;
        logLevel = string;
      };
      slave = {
        enable = flag;
        ip = string;
        port = number;
        advertiseIp = string;
        advertisePort = number;
        containerizers = strings;
        imageProviders = strings;
        imageProvisionerBackend = string;
        isolation = strings;
        master = string;
        withHadoop = flag;
        withDocker = flag;
        dockerRegistry = string;
        workDir = string;
        extraCmdLineOptions = strings;
        logLevel = string;
        attributes = set;
        executorEnvironmentVariables = set;
      };
    };
    marathon = {
      enable = flag;
      httpPort = number;
      master = string;
      zookeeperHosts = strings;
      user = string;
      extraCmdLineOptions = strings;
      environment = set;
    };
  };

  # What a configuration says of them: read past the option that nixpkgs refuses.
  said =
    name:
    (lib.evalModules {
      modules = [
        { options = former.${name}; }
      ]
      ++ map (config: { inherit config; }) options.services.${name}.definitions;
    }).config;

  quoted = builtins.toJSON;
  hasValue = value: value != null;
  line = value: text: optional (hasValue value) text;
  option = name: value: line value "${name} = ${quoted value};";
  listenAt =
    name: old: port:
    let
      ip = if old.ip or null == null then "0.0.0.0" else old.ip;
      number = if port == null then "" else toString port;
    in
    optional (
      old.ip or null != null || port != null
    ) "${name} = \"${ip}:${number}\"; # and allow_unauthenticated = true, if the network is trusted";
  nothing =
    value: name: why:
    line value "# ${name}: ${why}";
  flags =
    program: words:
    map (word: "# ${word}: see `${program} --help`, or whether it is needed at all") (
      builtins.filter (word: word != "") (if words == null then [ ] else words)
    );
  ownState = "Tepui keeps its state in /var/lib/tepui and takes none over";

  master =
    old:
    option "services.tepui.control-plane.enable" old.enable
    ++ listenAt "services.tepui.control-plane.settings.listen" old (
      if old.port == null && old.ip != null then 5050 else old.port
    )
    ++ option "services.tepui.control-plane.settings.hostname" old.advertiseIp
    ++ nothing old.advertisePort "advertisePort" "clients are told the port of `listen`"
    ++ optionals (old.zk != null) (storeOf old.zk)
    ++ nothing old.quorum "quorum" "the servers of the store count themselves"
    ++ nothing old.workDir "workDir" ownState
    ++
      nothing old.logLevel "logLevel"
        "set RUST_LOG in systemd.services.tepui-control-plane.environment"
    ++ flags "tepui-control-plane" old.extraCmdLineOptions;

  # An address with a password does not belong into the Nix store.
  kept = unit: name: address: {
    value =
      if builtins.match "[a-z]+://[^/]*@.*" address == null then
        quoted address
      else
        "\"file:///run/credentials/${unit}.service/store\"";
    credentials =
      optional (builtins.match "[a-z]+://[^/]*@.*" address != null)
        "services.tepui.${name}.credentials.store = \"/run/keys/store\"; # a file with the address and its password";
  };

  storeOf =
    address:
    let
      store = kept "tepui-control-plane" "control-plane" address;
    in
    [
      "services.tepui.control-plane.settings.store = ${store.value}; # records of Mesos that lie there are not read"
    ]
    ++ store.credentials;

  controlPlaneOf =
    address:
    if hasPrefix "zk://" address then
      let
        store = kept "tepui-agentd" "agent" address;
      in
      [ "services.tepui.agent.settings.control_plane = [ ${store.value} ];" ] ++ store.credentials
    else if hasPrefix "file://" address then
      [
        "# master: ${address} holds the address of a master; list the control planes instead: services.tepui.agent.settings.control_plane = [ \"http://HOST:5052\" ];"
      ]
    else
      [
        "services.tepui.agent.settings.control_plane = [ \"http://${builtins.head (lib.splitString ":" (removePrefix "http://" address))}:5052\" ];"
      ];

  slave =
    old:
    option "services.tepui.agent.enable" old.enable
    ++ optionals (old.master != null) (controlPlaneOf old.master)
    ++ listenAt "services.tepui.agent.settings.listen" old (
      if old.port == null && old.ip != null then 5051 else old.port
    )
    ++ option "services.tepui.agent.settings.hostname" old.advertiseIp
    ++ nothing old.advertisePort "advertisePort" "others are told the port of `listen`"
    ++
      optional (old.attributes != null)
        "services.tepui.agent.settings.attributes = ${
          quoted (
            concatStringsSep ";" (lib.mapAttrsToList (name: value: "${name}:${toString value}") old.attributes)
          )
        };"
    ++
      optional (old.isolation != null)
        "services.tepui.agent.settings.isolation = ${quoted (concatStringsSep "," old.isolation)}; # or leave it out: everything that the host can do"
    ++ option "services.tepui.agent.settings.docker_registry" old.dockerRegistry
    ++ nothing old.withDocker "withDocker" "images run without Docker"
    ++ nothing old.containerizers "containerizers" "images and commands run without them"
    ++ nothing old.imageProviders "imageProviders" "images of registries and archives always run"
    ++ nothing old.imageProvisionerBackend "imageProvisionerBackend" "images are mounted by overlayfs"
    ++ nothing old.withHadoop "withHadoop" "there is no fetcher for hdfs://"
    ++
      nothing old.executorEnvironmentVariables "executorEnvironmentVariables"
        "programs of tasks go to services.tepui.agent.taskPackages; other variables to the apps that need them"
    ++ nothing old.workDir "workDir" ownState
    ++ nothing old.logLevel "logLevel" "set RUST_LOG in systemd.services.tepui-agentd.environment"
    ++ flags "tepui-agentd" old.extraCmdLineOptions;

  marathon =
    old:
    option "services.tepui.control-plane.enable" old.enable
    ++ listenAt "services.tepui.control-plane.settings.marathon_listen" old old.httpPort
    ++ nothing old.master "master" "Marathon is a part of the control plane"
    ++
      optional (old.user != null)
        "services.tepui.control-plane.settings.marathon_user = ${quoted old.user}; # of apps that name none; the daemon has a user of its own"
    ++ optional (old.zookeeperHosts != null && old.zookeeperHosts != [ ]) (
      if options.services.mesos.isDefined && (said "mesos").master.zk != null then
        "# zookeeperHosts: apps are kept where the control plane keeps everything, in its settings.store"
      else
        "services.tepui.control-plane.settings.store = ${quoted "zk://${concatStringsSep "," old.zookeeperHosts}/tepui"}; # apps of Marathon that lie there are not read"
    )
    ++ nothing old.environment "environment" "there is no Java, and nothing to tell it"
    ++ flags "tepui-control-plane" old.extraCmdLineOptions;

  instead =
    name: lines:
    let
      option' = options.services.${name};
    in
    {
      assertion = !option'.isDefined;
      message = ''
        services.${name} was for a package that nixpkgs no longer has. Tepui takes its place; write this instead:
        ${concatStringsSep "\n" (map (text: "    ${text}") lines)}'';
    };
in
{
  # nixpkgs declares them among its removed options, without a type, so this agrees with it.
  options.services.mesos = mkOption {
    type = types.attrsOf types.anything;
    visible = false;
  };
  options.services.marathon = mkOption {
    type = types.attrsOf types.anything;
    visible = false;
  };

  config.assertions = [
    (instead "mesos" (
      let
        old = said "mesos";
      in
      concatMap (lines: lines) [
        (master old.master)
        (slave old.slave)
      ]
    ))
    (instead "marathon" (optionals options.services.marathon.isDefined (marathon (said "marathon"))))
  ];
}
