"""What pages are drawn with: the edge to Gradio, markup, charts, colours, forms from schemas."""
