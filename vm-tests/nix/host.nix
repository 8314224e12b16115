# The options of NixOS that our modules set: with their types, and with nothing behind them.
{ lib, ... }:
let
  inherit (lib) mkOption types;

  option = type: default: mkOption { inherit type default; };
  strings = option (types.listOf types.str) [ ];
  set = option (types.attrsOf types.anything) { };

  # As NixOS merges settings of units: lists are added up, all else must agree.
  unitSetting = lib.mkOptionType {
    name = "systemd option";
    merge =
      loc: definitions:
      let
        values = map (definition: definition.value) definitions;
      in
      if builtins.any lib.isList values then
        lib.concatMap lib.toList values
      else
        types.anything.merge loc definitions;
  };
  unitSettings = option (types.attrsOf unitSetting) { };

  service.options = {
    enable = option types.bool true;
    description = option types.str "";
    documentation = strings;
    wantedBy = strings;
    requiredBy = strings;
    wants = strings;
    requires = strings;
    bindsTo = strings;
    partOf = strings;
    conflicts = strings;
    after = strings;
    before = strings;
    unitConfig = unitSettings;
    serviceConfig = unitSettings;
    environment = set;
    path = option (types.listOf (types.either types.package types.str)) [ ];
    restartIfChanged = option types.bool true;
    stopIfChanged = option types.bool true;
    restartTriggers = option (types.listOf types.unspecified) [ ];
  };

  slice.options = {
    enable = option types.bool true;
    description = option types.str "";
    unitConfig = unitSettings;
    sliceConfig = unitSettings;
    overrideStrategy = option types.str "asDropinIfExists";
  };

  file.options = {
    text = option (types.nullOr types.lines) null;
    source = mkOption { type = types.path; };
    mode = option types.str "symlink";
  };

  portRange.options = {
    from = mkOption { type = types.port; };
    to = mkOption { type = types.port; };
  };
  ports = option (types.listOf types.port) [ ];
  portRanges = option (types.listOf (types.submodule portRange)) [ ];

  scrapeConfig = types.attrsOf types.anything;
in
{
  imports = [
    # nixpkgs has both among its removed options.
    (lib.mkRemovedOptionModule [
      "services"
      "mesos"
    ] "The corresponding package was removed from nixpkgs.")
    (lib.mkRemovedOptionModule [
      "services"
      "marathon"
    ] "The corresponding package was removed from nixpkgs.")
  ];

  options = {
    assertions = option (types.listOf types.unspecified) [ ];
    warnings = strings;
    boot.isContainer = option types.bool false;
    boot.kernelPackages = option types.raw { kernel.version = "6.12.30"; };
    boot.kernelParams = strings;
    environment.etc = option (types.attrsOf (types.submodule file)) { };
    environment.systemPackages = option (types.listOf types.package) [ ];
    users.users = set;
    users.groups = set;
    networking.hostName = option types.str "host";
    networking.fqdnOrHostName = option types.str "host";
    networking.firewall = {
      enable = option types.bool true;
      allowedTCPPorts = ports;
      allowedUDPPorts = ports;
      allowedTCPPortRanges = portRanges;
      allowedUDPPortRanges = portRanges;
      trustedInterfaces = strings;
    };
    systemd.services = option (types.attrsOf (types.submodule service)) { };
    systemd.slices = option (types.attrsOf (types.submodule slice)) { };
    services.prometheus = {
      enable = option types.bool false;
      globalConfig = option (types.attrsOf types.str) { };
      ruleFiles = option (types.listOf types.path) [ ];
      scrapeConfigs = option (types.listOf scrapeConfig) [ ];
    };
    services.grafana = {
      enable = option types.bool false;
      provision.enable = option types.bool false;
      provision.dashboards.settings.providers = option (types.listOf scrapeConfig) [ ];
      provision.datasources.settings.datasources = option (types.listOf scrapeConfig) [ ];
    };
  };
}
