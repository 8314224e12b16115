# A stand-in for the part of nixpkgs' lib that our modules use, so that they are evaluated where
# there is no nixpkgs. Written for Nix 2.8; what it does not have, our modules must not use.
let
  inherit (builtins)
    attrNames
    concatLists
    concatMap
    concatStringsSep
    elem
    elemAt
    filter
    foldl'
    genList
    head
    isAttrs
    isBool
    isFunction
    isInt
    isList
    isString
    length
    listToAttrs
    map
    mapAttrs
    match
    removeAttrs
    replaceStrings
    split
    stringLength
    substring
    tail
    toJSON
    ;

  letters = text: genList (at: substring at 1 text) (stringLength text);
  nameValuePair = name: value: { inherit name value; };
  optional = condition: value: if condition then [ value ] else [ ];
  optionals = condition: values: if condition then values else [ ];
  filterAttrs =
    keep: set:
    listToAttrs (
      concatMap (name: optional (keep name set.${name}) (nameValuePair name set.${name})) (attrNames set)
    );
  attrByPath =
    path: default: set:
    if path == [ ] then
      set
    else if isAttrs set && set ? ${head path} then
      attrByPath (tail path) default set.${head path}
    else
      default;
  setAttrByPath =
    path: value: if path == [ ] then value else { ${head path} = setAttrByPath (tail path) value; };
  recursiveUpdate =
    left: right:
    left
    // mapAttrs (
      name: value:
      if isAttrs value && isAttrs (left.${name} or null) then
        recursiveUpdate left.${name} value
      else
        value
    ) right;

  lib = {
    inherit
      attrByPath
      attrNames
      concatLists
      concatMap
      concatStringsSep
      elem
      elemAt
      filter
      filterAttrs
      foldl'
      genList
      head
      isAttrs
      isBool
      isFunction
      isInt
      isList
      isString
      length
      listToAttrs
      map
      mapAttrs
      nameValuePair
      optional
      optionals
      recursiveUpdate
      removeAttrs
      replaceStrings
      setAttrByPath
      stringLength
      tail
      ;
    inherit (builtins)
      all
      any
      attrValues
      fromJSON
      hasAttr
      isPath
      readFile
      ;

    id = value: value;
    const = value: _: value;
    last = list: elemAt list (length list - 1);
    init = list: genList (elemAt list) (length list - 1);
    toLower = replaceStrings (letters "ABCDEFGHIJKLMNOPQRSTUVWXYZ") (
      letters "abcdefghijklmnopqrstuvwxyz"
    );
    reverseList = list: genList (index: elemAt list (length list - 1 - index)) (length list);
    unique = foldl' (seen: one: if elem one seen then seen else seen ++ [ one ]) [ ];
    imap0 = f: list: genList (index: f index (elemAt list index)) (length list);
    singleton = value: [ value ];
    toList = value: if isList value then value else [ value ];

    optionalAttrs = condition: set: if condition then set else { };
    optionalString = condition: text: if condition then text else "";
    mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
    mapAttrs' = f: set: listToAttrs (map (name: f name set.${name}) (attrNames set));
    genAttrs = names: f: listToAttrs (map (name: nameValuePair name (f name)) names);
    getAttrFromPath = path: attrByPath path (throw "no attribute ${concatStringsSep "." path}");

    concatMapStringsSep =
      separator: f: list:
      concatStringsSep separator (map f list);
    concatLines = lines: concatStringsSep "" (map (line: "${line}\n") lines);
    splitString =
      separator: text:
      filter isString (split (replaceStrings [ "." "[" "|" ] [ "\\." "\\[" "\\|" ] separator) text);
    hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
    hasSuffix =
      suffix: text:
      let
        rest = stringLength text - stringLength suffix;
      in
      rest >= 0 && substring rest (stringLength text) text == suffix;
    removePrefix =
      prefix: text:
      if lib.hasPrefix prefix text then
        substring (stringLength prefix) (stringLength text) text
      else
        text;
    removeSuffix =
      suffix: text:
      if lib.hasSuffix suffix text then
        substring 0 (stringLength text - stringLength suffix) text
      else
        text;
    hasInfix = infix: text: length (lib.splitString infix text) > 1;
    toInt = text: builtins.fromJSON text;
    boolToString = value: if value then "true" else "false";
    escapeShellArg =
      text:
      let
        plain = toString text;
      in
      if match "[[:alnum:],._+:@%/-]+" plain != null then
        plain
      else
        "'${replaceStrings [ "'" ] [ "'\\''" ] plain}'";
    escapeShellArgs = lib.concatMapStringsSep " " lib.escapeShellArg;
    strings = {
      inherit toJSON;
    };

    getExe = package: "${package}/bin/${package.meta.mainProgram or package.pname}";
    getExe' = package: program: "${package}/bin/${program}";
    versionAtLeast = have: want: builtins.compareVersions have want >= 0;

    types = import ./types.nix lib;
    mkOptionType = lib.types.mkType;
    generators.toPretty = _: toJSON;
  }
  // import ./modules.nix lib
  // import ./options.nix lib;
in
lib
