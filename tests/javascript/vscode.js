// VS Code's own widget manager in a JupyterLab page, on the kernel of the notebook that is shown. VS Code itself is an
// editor from another place than npm; this is what it renders widgets with, given the same kernel by the same interface.

const kernel = () => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;

// Load the manager from `source`, its bundle; it shows widgets in a layer over the page.
window.loadVsCode = async (source) => {
  const modules = {};
  window.define = (name, make) => (modules[name] = make());
  window.requirejs = (names, found, missing) =>
    names.every((name) => name in modules) ? found(...names.map((name) => modules[name])) : missing(new Error(names));
  const bundle = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  bundle.activate();
  window.vscIPyWidgets8.load();
  window.vscode = document.createElement("div");
  window.vscode.style = "position:fixed;inset:0;background:white;z-index:9999;overflow:auto";
  document.body.append(window.vscode);
  const scripts = {
    widgetsRegisteredInRequireJs: new Set(Object.keys(modules)),
    loadWidgetScript: (name) => Promise.reject(new Error(`asks for the script of ${name}`)),
    successHandler: () => {},
    errorHandler: (...what) => console.error(...what),
  };
  window.vscodeManager = new window.vscIPyWidgets.WidgetManager(kernel(), window.vscode, scripts, () => {});
};

// Run code whose value is a widget, and show that.
window.showInVsCode = (code) =>
  new Promise((shown, failed) => {
    kernel().requestExecute({ code, store_history: false }).onIOPub = async ({ header, content }) => {
      if (header.msg_type === "error") failed(new Error(content.evalue));
      if (header.msg_type !== "execute_result") return;
      const id = content.data["application/vnd.jupyter.widget-view+json"].model_id;
      const view = await window.vscodeManager.create_view(await window.vscodeManager.get_model(id), {});
      await window.vscodeManager.display_view(null, view, { node: window.vscode });
      shown(true);
    };
  });
