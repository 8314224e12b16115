# A stand-in for the packages and builders that our modules use. A package is a name below
# /stand-in/pkg; what a builder makes is a recipe, which whoever writes a host follows.
lib:
let
  inherit (builtins) hashString substring toJSON;

  package = name: {
    type = "derivation";
    inherit name;
    pname = name;
    version = "0";
    meta.mainProgram = name;
    outPath = "/stand-in/pkg/${name}";
  };

  made =
    name: recipe:
    let
      hash = substring 0 32 (hashString "sha256" (toJSON recipe));
    in
    {
      type = "derivation";
      inherit name recipe;
      outPath = "/stand-in/store/${hash}-${name}";
    };

  # TOML of plain keys, lists and tables: what our settings are.
  toml =
    let
      key = name: if builtins.match "[A-Za-z0-9_-]+" name != null then name else toJSON name;
      inline =
        value:
        if lib.isList value then
          "[${lib.concatMapStringsSep ", " inline value}]"
        else if lib.isAttrs value && !(value ? outPath) then
          "{ ${
            lib.concatStringsSep ", " (lib.mapAttrsToList (name: one: "${key name} = ${inline one}") value)
          } }"
        else if lib.isString value || lib.isAttrs value then
          toJSON (toString value)
        else
          toJSON value;
    in
    settings:
    lib.concatLines (lib.mapAttrsToList (name: value: "${key name} = ${inline value}") settings);

  valueOf =
    description: leaves:
    let
      value =
        lib.types.oneOf (
          leaves
          ++ [
            (lib.types.attrsOf value)
            (lib.types.listOf value)
          ]
        )
        // {
          inherit description;
        };
    in
    value;
  leaves = [
    lib.types.bool
    lib.types.int
    lib.types.float
    lib.types.str
    lib.types.path
  ];
in
lib.genAttrs [
  "busybox"
  "coreutils"
  "etcd"
  "grafana"
  "iproute2"
  "jre"
  "nftables"
  "prometheus"
  "python3"
  "tepui"
  "zookeeper"
] package
// {
  formats.toml = _: {
    type = valueOf "TOML value" leaves;
    generate = name: settings: made name { text = toml settings; };
  };
  formats.json = _: {
    type = lib.types.nullOr (valueOf "JSON value" leaves) // {
      description = "JSON value";
    };
    generate = name: value: made name { text = toJSON value; };
  };
  writeText = name: text: made name { inherit text; };
  runCommand =
    name: environment: script:
    made name {
      inherit script;
      environment = lib.mapAttrs (_: toString) environment;
      inputs = lib.filter (value: value ? recipe) (lib.attrValues environment);
    };
  symlinkJoin =
    { name, paths }:
    made name {
      script = "mkdir -p $out; cp -rs ${lib.concatMapStringsSep " " (path: "${path}/.") paths} $out";
      environment = { };
      inputs = lib.filter (path: path ? recipe) paths;
    };
}
