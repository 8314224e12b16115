# Hosts as data: each evaluated with our modules, its failed assertions thrown as NixOS does it.
# `nodes` is like the `nodes` of a NixOS test, or a function of what hosts differ by here, or a file
# with either.
{
  nodes,
  # Emulated hosts are slower: patience of daemons is stretched by it.
  timeFactor ? "1",
  # A folder with another library of nixpkgs' kind.
  libPath ? ./lib,
}:
let
  lib = import libPath;
  pkgs = import ./pkgs.nix lib;
  inherit (builtins) isFunction isPath isString;

  given = if isPath nodes || isString nodes then import nodes else nodes;
  hosts = if isFunction given then given { timeFactor = builtins.fromJSON timeFactor; } else given;

  # A recipe as data: with those of what it needs.
  recipe =
    made:
    {
      path = made.outPath;
    }
    // removeAttrs made.recipe [ "inputs" ]
    // {
      inputs = map recipe (made.recipe.inputs or [ ]);
    };

  file =
    entry:
    if entry.text != null then
      { inherit (entry) text mode; }
    else if entry.source ? recipe then
      {
        recipe = recipe entry.source;
        inherit (entry) mode;
      }
    else
      {
        source = toString entry.source;
        inherit (entry) mode;
      };

  ruleFile = one: if one ? recipe then { recipe = recipe one; } else toString one;

  # `source` has no value where `text` has one.
  etc =
    entries:
    lib.mapAttrs (
      _: entry: file (entry // { source = if entry.text != null then null else entry.source; })
    ) entries;

  host =
    name: module:
    let
      inherit
        (lib.evalModules {
          specialArgs = { inherit pkgs; };
          modules = [
            ./host.nix
            ./stores.nix
            ../../nixos-modules
            {
              networking.hostName = lib.mkDefault name;
              networking.fqdnOrHostName = lib.mkDefault name;
            }
            module
          ];
        })
        config
        ;
      failed = lib.filter (assertion: !assertion.assertion) config.assertions;
      data = {
        inherit (config) warnings;
        inherit (config.networking) firewall;
        inherit (config.users) users groups;
        inherit (config.services) grafana;
        prometheus = config.services.prometheus // {
          ruleFiles = map ruleFile config.services.prometheus.ruleFiles;
        };
        etc = etc config.environment.etc;
        units = lib.mapAttrs (_: unit: unit // { path = map toString unit.path; }) (
          lib.filterAttrs (_: unit: unit.enable) config.systemd.services
        );
        slices = lib.filterAttrs (_: slice: slice.enable) config.systemd.slices;
      };
    in
    if failed == [ ] then
      data
    else
      throw "Failed assertions:\n${lib.concatMapStringsSep "\n" (one: "- ${one.message}") failed}";
in
lib.mapAttrs host hosts
