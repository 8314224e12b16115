# What the modules of both daemons have in common: options, the checked configuration file, what is
# refused before anything is built.
{ lib, pkgs }:
let
  inherit (lib)
    concatMap
    concatStringsSep
    filter
    filterAttrs
    hasPrefix
    isString
    last
    mapAttrsToList
    mkOption
    splitString
    types
    ;

  toml = pkgs.formats.toml { };

  # Every text among settings, with the names that lead to it.
  textsOf =
    path: value:
    if isString value || builtins.isPath value then
      [ { inherit path value; } ]
    else if builtins.isList value then
      concatMap (textsOf path) value
    else if builtins.isAttrs value && value ? outPath then
      [
        {
          inherit path;
          value = toString value;
        }
      ]
    else if builtins.isAttrs value then
      concatMap (name: textsOf (path ++ [ name ]) value.${name}) (builtins.attrNames value)
    else
      [ ];

  # A name as it is in every way of writing it: api_key, apiKey, API-KEY.
  plainName = name: builtins.replaceStrings [ "_" "-" ] [ "" "" ] (lib.toLower name);
  matches = pattern: text: builtins.match pattern text != null;
  # Settings whose text could be a secret, which would then stand where everybody reads it. Those that
  # name a file are looked at for where it is.
  looksSecret =
    path:
    let
      name = plainName (last path);
      above = map plainName (lib.init path);
    in
    (
      matches ".*(password|passwd|passphrase|secret|token|credential).*" name
      || matches ".*(api|access|auth|encryption|master|private|shared|signing)keys?" name
      # A table of them, by names that are anything.
      || (above != [ ] && matches "(passwords|secrets|tokens|credentials|apikeys)" (last above))
    )
    && !namesFile name;
  namesFile = matches ".*(file|path|folder|dir)s?";
  # Settings that name a file with a secret in it.
  namesSecretFile =
    path:
    let
      name = plainName (last path);
    in
    looksSecret path
    || name == "dockerconfig"
    || matches ".*(password|passwd|passphrase|secret|token|credential|key).*" name;
  isPrivateKey = text: isString text && matches ".*-----BEGIN [A-Z ]*PRIVATE KEY-----.*" (flat text);
  # What `.` of a pattern matches in every line.
  flat = builtins.replaceStrings [ "\n" ] [ " " ];
  isInStore = text: builtins.isPath text || lib.hasInfix "${builtins.storeDir}/" text;
in
rec {
  # The settings of a daemon: the keys of its TOML file, those in `typed` with types of their own.
  # What others are told of a host that they can reach is its name.
  settingsOption =
    {
      program,
      typed,
      name,
    }:
    mkOption {
      default = { };
      description = ''
        The configuration file of `${program}`, whose keys `${program} --help` explains (without the
        dashes). It is checked by the daemon itself when the system is built.
      '';
      type = types.submodule (
        { config, ... }:
        {
          freeformType = toml.type;
          options = typed // {
            hostname = mkOption {
              type = types.str;
              default = if isLoopback config.listen then hostOf config.listen else name;
              defaultText = lib.literalExpression "config.networking.fqdnOrHostName";
              description = "Name under which others reach this host.";
            };
          };
        }
      );
    };

  addressOption =
    default: what:
    mkOption {
      type = types.str;
      inherit default;
      description = "Address and port ${what}.";
    };

  # Options that both daemons have.
  options =
    {
      program,
      unit,
      package,
    }:
    {
      package = mkOption {
        type = types.package;
        default = package;
        defaultText = lib.literalExpression "config.services.tepui.package";
        description = "The package with `${program}`.";
      };
      checkConfig = mkOption {
        type = types.bool;
        default = true;
        description = ''
          Whether `${program} check-config` reads the settings when the system is built. Switch it
          off where the building host cannot run the package, as when it is built for another
          processor.
        '';
      };
      credentials = mkOption {
        type = types.attrsOf types.str;
        default = { };
        example = {
          docker-config = "/run/keys/docker-config.json";
        };
        description = ''
          Files with secrets, which systemd reads as root and shows to the daemon alone, each as
          `/run/credentials/${unit}.service/NAME`. Settings name that path, never the secret.
        '';
      };
      plugins = mkOption {
        type = types.listOf types.package;
        default = [ ];
        description = ''
          Packages with plugins in `lib/tepui/plugins`. They are joined in one folder that only root
          can change, which the daemon gets as `plugin_dir`.
        '';
      };
      openFirewall = mkOption {
        type = types.bool;
        default = false;
        description = "Whether to open exactly the ports at which the daemon listens.";
      };
    };

  # The configuration file, read by the daemon when it is built.
  configFile =
    {
      cfg,
      program,
      name,
      settings,
      # The folder of all plugins, and where the host has it.
      plugins,
      pluginDir,
    }:
    let
      plain = toml.generate name settings;
      # Plugins are loaded when the system is built; of those in another folder nothing is known then.
      hasPlugins = cfg.plugins != [ ] && settings.plugin_dir == pluginDir;
    in
    if cfg.checkConfig then
      pkgs.runCommand name ({ inherit plain; } // lib.optionalAttrs hasPlugins { inherit plugins; }) ''
        if ! why=$(${lib.getExe' cfg.package program} check-config --elsewhere ''${plugins:+--plugins "$plugins"} "$plain" 2>&1 >/dev/null); then
          echo "the settings of ${program} are refused: $why" >&2
          exit 1
        fi
        cp "$plain" "$out"
      ''
    else
      plain;

  # One folder of all plugins.
  pluginFolder =
    cfg: name:
    pkgs.symlinkJoin {
      inherit name;
      paths = map (plugin: "${plugin}/lib/tepui/plugins") cfg.plugins;
    };

  # How a daemon fares among others on its host. It is started again when its loop gives no sign of life
  # for a minute, or asked to read its configuration anew; what it manages goes on meanwhile.
  serviceConfig = {
    Type = "notify";
    ExecReload = "${lib.getExe' pkgs.coreutils "kill"} -HUP $MAINPID";
    Restart = "always";
    RestartSec = "100ms";
    WatchdogSec = "60s";
    TimeoutAbortSec = "10s";
    # A host that is busy with tasks still manages them.
    CPUWeight = 500;
    IOWeight = 500;
    MemoryMin = "64M";
    OOMScoreAdjust = -900;
    # Connections, each a descriptor.
    LimitNOFILE = 1048576;
  };

  # No unit's memory is kept for it unless that is kept for the slice it is in, too: here for all
  # services of the host, so that tasks do not push them out.
  systemSlice = {
    overrideStrategy = "asDropin";
    sliceConfig.MemoryMin = "256M";
  };

  loadCredentials = cfg: mapAttrsToList (name: path: "${name}:${path}") cfg.credentials;

  hostOf =
    address:
    let
      found = builtins.match "\\[?([^]]*)]?:[0-9]+" address;
    in
    if found == null then address else builtins.head found;
  # Nothing of what is no address, which is refused for that.
  portOf = address: if isAddress address then lib.toInt (last (splitString ":" address)) else null;
  portsOf = addresses: filter (port: port != null) (map portOf addresses);
  # Not both can be listened at on one host.
  clash =
    one: other:
    let
      isEverywhere =
        address:
        builtins.elem (hostOf address) [
          "0.0.0.0"
          "::"
        ];
    in
    portOf one != null
    && portOf one != 0
    && portOf one == portOf other
    && (hostOf one == hostOf other || isEverywhere one || isEverywhere other);
  # An address that is listened at, as programs of the same host reach it.
  reached =
    address:
    let
      port = last (splitString ":" address);
    in
    {
      "0.0.0.0" = "127.0.0.1:${port}";
      "::" = "[::1]:${port}";
    }
    .${hostOf address} or address;
  # The same of a daemon's key, or what it is by default where the daemon does not run.
  reachedOf =
    cfg: key: default:
    if cfg.enable or false then reached cfg.settings.${key} else default;
  isLoopback =
    address: hasPrefix "127." address || hasPrefix "[::1]" address || hasPrefix "localhost:" address;
  hasPassword = address: isString address && builtins.match "[a-z]+://[^/]*:[^/]*@.*" address != null;
  isAddress =
    address: builtins.match "([0-9.]+|\\[[0-9a-fA-F:.]+])(:(0|[1-9][0-9]{0,4}))" address != null;

  # What is refused for either daemon; `addresses` are the keys of settings that are addresses.
  assertions =
    {
      cfg,
      path,
      addresses,
    }:
    let
      settings = cfg.settings;
      open = filter (key: !isLoopback settings.${key}) addresses;
      texts = textsOf [ ] settings;
      namesOf = found: map (one: concatStringsSep "." one.path) found;
      secrets = namesOf (
        filter (
          one:
          isPrivateKey one.value
          || (
            looksSecret one.path
            && isString one.value
            && one.value != ""
            && !hasPrefix "/" one.value
            && !hasPrefix "file:///" one.value
          )
        ) texts
      );
      inStore = namesOf (
        filter (
          one:
          isInStore one.value
          # What is named as file:///… is read for its login.
          && (namesSecretFile one.path || (isString one.value && hasPrefix "file://" one.value))
        ) texts
      );
      # An address, such as a store's, may hold a password, whatever name it is given by.
      logins = namesOf (filter (one: hasPassword one.value) texts);
      badCredentials = builtins.attrNames (
        filterAttrs (_: source: !hasPrefix "/" source || isInStore source) cfg.credentials
      );
      badNames = filter (name: builtins.match "[A-Za-z0-9_.-]+" name == null) (
        builtins.attrNames cfg.credentials
      );
    in
    map (key: {
      assertion = isAddress settings.${key};
      message = "${path}.settings.${key} = \"${settings.${key}}\" is not an address with a port, such as \"0.0.0.0:5050\" or \"[::]:5050\".";
    }) addresses
    ++ [
      {
        assertion = cfg.openFirewall -> open != [ ];
        message = "${path}.openFirewall is set, but everything listens on loopback addresses, which no other host reaches. Set ${path}.settings.listen (and allow_unauthenticated, if the network is trusted), or leave the firewall closed.";
      }
      {
        assertion = secrets == [ ];
        message = "${path}.settings.${concatStringsSep ", " secrets} would put a secret into the Nix store, where everybody can read it. Put it into a file that only root reads, name that file in ${path}.credentials, and set the key to its path below /run/credentials.";
      }
      {
        assertion = logins == [ ];
        message = "${path}.settings.${concatStringsSep ", " logins} has a password, and would put it into the Nix store, where everybody can read it. Put the whole address into a file that only root reads, name that file in ${path}.credentials, and set the key to file:///run/credentials/ and so on.";
      }
      {
        assertion = inStore == [ ];
        message = "${path}.settings.${concatStringsSep ", " inStore} names a file in the Nix store, where everybody can read it. Name a file outside of it in ${path}.credentials, and set the key to its path below /run/credentials.";
      }
      {
        assertion = badNames == [ ];
        message = "${path}.credentials: ${builtins.toJSON badNames} cannot be files below /run/credentials. Their names have letters, digits, dots, dashes and underscores.";
      }
      {
        assertion = badCredentials == [ ];
        message = "${path}.credentials.${concatStringsSep ", " badCredentials} must be the absolute path of a file outside the Nix store, as a string: \"/run/keys/name\", not ./name.";
      }
    ];
}
