# Evaluation of modules: imports, properties, priorities, freeform settings, in nixpkgs' words.
lib:
let
  inherit (builtins)
    attrNames
    attrValues
    concatLists
    concatMap
    concatStringsSep
    elemAt
    filter
    foldl'
    functionArgs
    genericClosure
    head
    intersectAttrs
    isAttrs
    isFunction
    isPath
    isString
    length
    map
    mapAttrs
    removeAttrs
    sort
    toJSON
    ;
  inherit (lib) showOption;

  isType = type: value: isAttrs value && (value._type or "") == type;

  # Properties: conditions, merges, priorities and places of definitions.
  mkIf = condition: content: {
    _type = "if";
    inherit condition content;
  };
  mkMerge = contents: {
    _type = "merge";
    inherit contents;
  };
  mkOverride = priority: content: {
    _type = "override";
    inherit priority content;
  };
  mkOrder = priority: content: {
    _type = "order";
    inherit priority content;
  };
  defaultPriority = 100;
  defaultOrder = 1000;

  # A set with properties around it, as sets with properties around their values.
  pushDownProperties =
    value:
    if isType "merge" value then
      concatMap pushDownProperties value.contents
    else if isType "if" value then
      map (mapAttrs (_: mkIf value.condition)) (pushDownProperties value.content)
    else if isType "override" value then
      map (mapAttrs (_: mkOverride value.priority)) (pushDownProperties value.content)
    else
      [ value ];

  # The definitions behind the properties of one.
  discharge =
    definition:
    let
      inherit (definition) value;
      inside = content: discharge (definition // { value = content; });
    in
    if isType "merge" value then
      concatMap inside value.contents
    else if isType "if" value then
      if value.condition then inside value.content else [ ]
    else if isType "override" value then
      map (found: { priority = value.priority; } // found) (inside value.content)
    else if isType "order" value then
      map (found: { order = value.priority; } // found) (inside value.content)
    else
      [ definition ];

  # Those of the highest priority, in order.
  strongest =
    definitions:
    let
      priorityOf = definition: definition.priority or defaultPriority;
      orderOf = definition: definition.order or defaultOrder;
      least = foldl' (
        found: definition: if priorityOf definition < found then priorityOf definition else found
      ) 9999 definitions;
    in
    sort (a: b: orderOf a < orderOf b) (
      filter (definition: priorityOf definition == least) definitions
    );

  showDefinitions =
    definitions:
    concatStringsSep "" (
      map (
        definition:
        let
          shown = builtins.tryEval (toJSON definition.value);
        in
        "\n- In `${definition.file}'${if shown.success then ": ${shown.value}" else ""}"
      ) definitions
    );

  mergeDefinitions =
    loc: type: given:
    let
      definitions = strongest (concatMap discharge given);
      wrong = filter (definition: !(type.check definition.value)) definitions;
    in
    {
      inherit definitions;
      isDefined = definitions != [ ];
      value =
        if wrong != [ ] then
          throw "A definition for option `${showOption loc}' is not of type `${type.description}'. Definition values:${showDefinitions wrong}"
        else
          type.merge loc definitions;
    };

  evalModules =
    {
      modules,
      specialArgs ? { },
      prefix ? [ ],
    }:
    let
      arguments = {
        inherit lib config options;
      }
      // specialArgs;
      call =
        function:
        function (
          mapAttrs (name: _: arguments.${name} or config._module.args.${name}) (functionArgs function)
          // arguments
        );

      load =
        key: file: module:
        if isPath module || isString module then
          load (toString module) (toString module) (import module)
        else if isFunction module then
          load key file (call module)
        else
          let
            structured = module ? config || module ? options;
            surplus = removeAttrs module [
              "_class"
              "_file"
              "config"
              "freeformType"
              "imports"
              "key"
              "meta"
              "options"
            ];
          in
          if structured && surplus != { } then
            throw "Module `${module._file or file}' has an unsupported attribute `${head (attrNames surplus)}'."
          else
            {
              key = module.key or key;
              file = module._file or file;
              imports = module.imports or [ ];
              options = module.options or { };
              freeform = module.freeformType or null;
              config =
                if structured then
                  module.config or { }
                else
                  removeAttrs module [
                    "_class"
                    "_file"
                    "freeformType"
                    "imports"
                    "key"
                    "meta"
                  ];
            };

      # Each module once, however often it is imported, nearest first; later definitions come first.
      loaded = lib.reverseList (genericClosure {
        startSet = lib.imap0 (index: load ":anonymous-${toString index}" "<unknown-file>") modules;
        operator =
          module:
          lib.imap0 (index: load "${module.key}:anonymous-${toString index}" module.file) module.imports;
      });

      declarations = foldl' (declareIn prefix) internal (map (module: module.options) loaded);
      internal._module.args = {
        _type = "option";
        type = lib.types.attrsOf lib.types.raw;
        default = { };
      };
      declareIn =
        loc: known: more:
        known
        // mapAttrs (
          name: declared:
          let
            here = loc ++ [ name ];
            old = known.${name};
          in
          if !(known ? ${name}) then
            declared
          else if isType "option" old && isType "option" declared then
            declareTwice here old declared
          else if isType "option" old || isType "option" declared then
            throw "The option `${showOption here}' is a prefix of other options."
          else
            declareIn here old declared
        ) more;
      # Two modules may say different things of one option.
      declareTwice =
        loc: old: more:
        let
          both = filter (name: old ? ${name} && more ? ${name}) [
            "default"
            "example"
            "description"
            "apply"
            "type"
          ];
        in
        if both != [ ] then
          throw "The option `${showOption loc}' is already declared; both declarations have ${head both}."
        else
          old // more;

      freeform = foldl' (
        found: module: if module.freeform != null then module.freeform else found
      ) null loaded;

      evaluated = tree prefix declarations (
        map (module: {
          inherit (module) file;
          value = module.config;
        }) loaded
      );

      tree =
        loc: declared: definitions:
        let
          pushed = concatMap (
            definition: map (value: definition // { inherit value; }) (pushDownProperties definition.value)
          ) definitions;
          at =
            name:
            concatMap (
              definition:
              lib.optional (definition.value ? ${name}) {
                inherit (definition) file;
                value = definition.value.${name};
              }
            ) pushed;
          children = mapAttrs (
            name: declaration:
            let
              here = loc ++ [ name ];
            in
            if isType "option" declaration then
              option here declaration (at name)
            else
              tree here declaration (at name)
          ) declared;
          defined = attrNames (foldl' (all: definition: all // definition.value) { } pushed);
          unknown = filter (name: !(declared ? ${name}) && concatMap discharge (at name) != [ ]) defined;
        in
        {
          options = mapAttrs (_: child: child.options) children;
          values = mapAttrs (_: child: child.values) children;
          unknown =
            map (name: {
              loc = loc ++ [ name ];
              definitions = at name;
            }) unknown
            ++ concatMap (child: child.unknown) (attrValues children);
        };

      option =
        loc: declaration: definitions:
        let
          type = declaration.type or lib.types.unspecified;
          merged = mergeDefinitions loc type (
            definitions
            ++ lib.optional (declaration ? default) {
              file = "<default>";
              value = mkOverride 1500 declaration.default;
            }
          );
          value =
            if merged.isDefined then
              merged.value
            else if type ? emptyValue then
              type.emptyValue
            else
              throw "The option `${showOption loc}' was accessed but has no value defined. Try setting the option.";
          own = filter (definition: definition.file != "<default>") merged.definitions;
        in
        {
          unknown = [ ];
          values = (declaration.apply or lib.id) value;
          options = declaration // {
            inherit loc value;
            inherit (merged) isDefined;
            definitions = map (definition: definition.value) own;
            files = map (definition: definition.file) own;
          };
        };

      inherit (evaluated) options;
      surplus =
        if evaluated.unknown == [ ] then
          { }
        else if freeform == null then
          throw "The option `${showOption (head evaluated.unknown).loc}' does not exist. Definition values:${showDefinitions (head evaluated.unknown).definitions}"
        else
          freeform.merge prefix (
            map (definition: {
              inherit (definition) file;
              value = intersectAttrs (lib.listToAttrs (
                map (one: lib.nameValuePair (elemAt one.loc (length prefix)) null) evaluated.unknown
              )) definition.value;
            }) topLevel
          );
      topLevel = concatLists (
        map (
          module:
          map (value: {
            inherit (module) file;
            inherit value;
          }) (pushDownProperties module.config)
        ) loaded
      );
      # Arguments of modules must not wait for the search for unknown options.
      config = evaluated.values // {
        inherit (evaluated.values) _module;
      };
      checked = removeAttrs (lib.recursiveUpdate surplus evaluated.values) [ "_module" ];
    in
    {
      inherit options;
      config = builtins.seq (builtins.attrNames surplus) checked;
    };
in
{
  inherit
    evalModules
    mergeDefinitions
    mkIf
    mkMerge
    mkOrder
    mkOverride
    pushDownProperties
    showDefinitions
    ;
  mkDefault = mkOverride 1000;
  mkForce = mkOverride 50;
  mkOptionDefault = mkOverride 1500;
  mkBefore = mkOrder 500;
  mkAfter = mkOrder 1500;
}
