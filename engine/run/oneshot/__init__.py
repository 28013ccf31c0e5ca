"""What the verbs without a workspace share: files in, a folder with survivors out.

inputs        files, folders and earlier results, numbered through; texts reads them
own_ids       the documents' own ids, and names: what documents are called in the results
threads       as many as the memory ceiling allows
out_folder    a folder that is whole or not there
survivors     the rows that stay, with all their columns
phases        where the time went
recipe        the inputs as a recipe names them
warm          compiles the kernels of these verbs
"""
